"""What a network learns: the loss, the figures and the pictures of a kind of problem."""
