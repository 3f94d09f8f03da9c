//! The program's heap, and the one place in it with unsafe code: small pieces from dlmalloc, big ones straight from the
//! kernel, all of them counted and none beyond the cap.
//!
//! A big piece is made of zero pages, which become resident as they are written to, and which the kernel has back the
//! moment the piece is dropped. C libraries differ in both; here it is the same wherever weir runs.

use dlmalloc::GlobalDlmalloc;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use weir::driver::heap::ACCOUNT;

/// Pieces of this size and above are pages of their own.
const BIG_BYTES: usize = 16 * 1024;

/// What the kernel aligns pages to at least, everywhere.
const PAGE_ALIGN: usize = 4_096;

/// The program's heap.
pub struct Heap;

fn is_big(layout: Layout) -> bool {
    layout.size() >= BIG_BYTES && layout.align() <= PAGE_ALIGN
}

/// So many zero bytes from the kernel, or null.
fn map(bytes: usize) -> *mut u8 {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping where the kernel likes it overlaps nothing that exists.
    let pages = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) };
    pages.map_or(ptr::null_mut(), <*mut _>::cast)
}

// SAFETY: both sources give memory of the layout's size and alignment, or null, and null does not leave this file:
// dlmalloc as a `GlobalAlloc` itself; the kernel gives whole pages, and only what a page's alignment suffices for is
// asked of it. `is_big` depends on nothing but the layout, and whoever frees must name the layout it allocated with, so
// each piece goes back to where it came from. `realloc` is the trait's own: allocate, copy, free. The account is a few
// atomic words; it does not allocate, and where it or the system refuses, the process ends instead of unwinding.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ACCOUNT.take(layout.size());
        let piece = match is_big(layout) {
            true => map(layout.size()),
            // SAFETY: the caller's promise, passed on.
            false => unsafe { GlobalDlmalloc.alloc(layout) },
        };
        if piece.is_null() {
            ACCOUNT.system_refused(layout.size());
        }
        piece
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        let piece = unsafe { self.alloc(layout) };
        if !is_big(layout) {
            // SAFETY: the piece has this size and is nobody else's yet.
            unsafe { piece.write_bytes(0, layout.size()) };
        }
        piece
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match is_big(layout) {
            // SAFETY: these are the pages that `map` gave for this layout, and the caller has done with them. It fails
            // only where the kernel can split no mapping further; then they stay.
            true => drop(unsafe { munmap(piece.cast(), layout.size()) }),
            // SAFETY: the caller's promise, passed on.
            false => unsafe { GlobalDlmalloc.dealloc(piece, layout) },
        }
        ACCOUNT.give(layout.size());
    }
}
