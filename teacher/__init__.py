"""Training and evaluating the teacher."""
