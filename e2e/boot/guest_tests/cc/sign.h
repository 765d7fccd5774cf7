// Returns -1, 0 or 1.
int sign(int x);
