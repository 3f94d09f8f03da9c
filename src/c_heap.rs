//! What the C library and the standard library's own corners allocate (the addresses of a name, an open folder, a thread)
//! comes from the program's heap: counted and capped like the rest, and musl's second allocator stays out of a small program.

use crate::allocator::Heap;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_int;
use core::ptr;

/// Two words before each piece: how long it is with what lies before it, and how much that is. They keep the alignment
/// that C expects of a piece.
const HEAD: usize = 2 * size_of::<usize>();

const INVALID: c_int = 22;
const NO_MEMORY: c_int = 12;

/// A piece of so many zero bytes, aligned as wanted, a power of two; null where there can be none.
fn take(bytes: usize, align: usize) -> *mut u8 {
    let before = align.max(HEAD);
    let whole = bytes.checked_add(before);
    let Some(layout) = whole.and_then(|whole| Layout::from_size_align(whole, before).ok()) else {
        return ptr::null_mut();
    };
    // SAFETY: not empty, as there is a head. The heap gives so many bytes or ends the program, and both words of the head
    // lie right before the piece, which is aligned for them.
    unsafe {
        let piece = Heap.alloc_zeroed(layout).add(before);
        piece
            .cast::<[usize; 2]>()
            .sub(1)
            .write([layout.size(), before]);
        piece
    }
}

// SAFETY of them all: names, arguments and answers are those of malloc(3) and posix_memalign(3), and who calls them keeps
// to these pages. Nothing else makes or frees pieces under these names, so that each given back has a head of `take`.

#[unsafe(no_mangle)]
extern "C" fn malloc(bytes: usize) -> *mut u8 {
    take(bytes, HEAD)
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, bytes: usize) -> *mut u8 {
    count
        .checked_mul(bytes)
        .map_or(ptr::null_mut(), |bytes| take(bytes, HEAD))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(at: *mut *mut u8, align: usize, bytes: usize) -> c_int {
    if !align.is_power_of_two() {
        return INVALID;
    }
    let piece = take(bytes, align);
    if piece.is_null() {
        return NO_MEMORY;
    }
    // SAFETY: the caller's place for the answer.
    unsafe { at.write(piece) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(old: *mut u8, bytes: usize) -> *mut u8 {
    let new = malloc(bytes);
    if !old.is_null() && !new.is_null() {
        // SAFETY: a piece that `take` made, as long as its head says, and a new one; the old one is done with.
        unsafe {
            let [whole, before] = old.cast::<[usize; 2]>().sub(1).read();
            ptr::copy_nonoverlapping(old, new, bytes.min(whole - before));
            free(old);
        }
    }
    new
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(piece: *mut u8) {
    if piece.is_null() {
        return;
    }
    // SAFETY: a piece that `take` made with this layout.
    unsafe {
        let [whole, before] = piece.cast::<[usize; 2]>().sub(1).read();
        Heap.dealloc(
            piece.sub(before),
            Layout::from_size_align_unchecked(whole, before),
        );
    }
}
