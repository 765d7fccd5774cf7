#include "guest_tests/cc/sign.h"

// Reaches only the end of sign.
int main() { return sign(7) == 1 ? 0 : 1; }
