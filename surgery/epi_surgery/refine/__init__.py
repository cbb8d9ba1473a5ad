"""Plans made better by measuring: heads that left are exchanged for heads that stayed while that lowers the loss."""
