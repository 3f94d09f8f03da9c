//! The engine tried as a whole, over a wire of vectors.
