"""What operators and outside agents request of a run: each request is checked, journalled and answered."""
