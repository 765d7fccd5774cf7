// Needs the C++ library, the C library and a second thread of the guest.
#include <iostream>
#include <string>
#include <thread>

int main() {
  std::string from_thread;
  std::thread([&] { from_thread = "a thread"; }).join();
  std::cout << "hello from " << from_thread << std::endl;
  return from_thread.empty();
}
