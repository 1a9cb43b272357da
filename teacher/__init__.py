"""Training, calibrating and evaluating the teacher."""
