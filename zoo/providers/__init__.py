"""What losses need and trainers do not give, computed of what a step holds, for all."""
