"""How good a text is: vectors and lists in; reward models, and with them rewards and their reliability, out."""
