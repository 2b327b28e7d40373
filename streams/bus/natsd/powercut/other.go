//go:build !linux

package powercut

import "errors"

// Watch needs Linux.
func Watch(dir, platter string) error { return errors.New("powercut: needs Linux") }
