"""Where bars come from: recorded files here, venues beside it, and the checks every bar passes."""
