//go:build !race

package dead_test

const slow = 1
