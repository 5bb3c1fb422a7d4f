"""Generator of the training text: a small world, stories that happen in it, and chats about it."""
