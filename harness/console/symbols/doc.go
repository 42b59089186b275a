// Package symbols finds the source lines of the frames in console's findings,
// inlined ones included, with the kernel's own debug information. It executes
// llvm-symbolizer or addr2line, whichever is there, once for each file.
package symbols
