"""What the tests of the zoo and of its plugins share; shipped, so that a plugin elsewhere can use it."""
