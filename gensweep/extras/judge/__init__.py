"""`gensweep judge`: is one configuration better than another, or is it noise?"""
