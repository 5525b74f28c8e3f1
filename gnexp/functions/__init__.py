"""A function by its name, `package.module:function`: found, called with the right arguments, and kept on record.

Nothing here imports Keras. What can be read from a function's source is read without importing it.
"""
