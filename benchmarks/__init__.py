"""What is measured, how each measurement is kept, and the tables made from what was kept."""
