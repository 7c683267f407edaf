"""What training costs, in memory and time: predicted, swept and measured."""
