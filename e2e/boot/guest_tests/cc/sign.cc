#include "guest_tests/cc/sign.h"

int sign(int x) {
  if (x < 0)
    return -1;
  return x > 0;
}
