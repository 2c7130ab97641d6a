"""`gensweep plan`: scaling laws of score against compute, their backtest, and how to spend a larger budget."""
