//go:build !unix

package ca

import "io/fs"

func isOthers(fs.FileInfo) bool { return false }
