// Nothing: the program whose precompiled headers the tests share (tests/CMakeLists.txt).
