// Package edit rewrites traces: it takes out secrets, and turns texts that are
// to be compressed into bytes.
//
// Records are rewritten one by one, with comments, unknown keys and the order of
// lines kept, so that the trace of a test can be edited in place.
package edit
