//go:build race

package dead_test

// slow is how many times longer things may take: the detector slows the server
// too, which runs in this process.
const slow = 10
