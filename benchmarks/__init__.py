"""Speed, memory and accuracy, measured beside the peers."""
