//! The simulator tried as a whole.
