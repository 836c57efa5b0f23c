"""Speed, memory and accuracy, each measured beside a reference in the same run."""
