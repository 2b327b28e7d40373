package retrieval

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// A source is down when of at least five calls within a minute half or more
// got no answer (contract/enrichment.md 5.5 and W1.3). The rate, so that a busy
// source with an error here and there is not given up.
const (
	downCalls  = 5
	downRate   = 0.5
	downWithin = time.Minute
)

// breakers notice that a source is down: one for each source, of this process.
// That it is down, all processes learn from table credential.
type breakers struct {
	mu sync.Mutex
	of map[string]circuitbreaker.CircuitBreaker[any]
}

func (b *breakers) get(source string) circuitbreaker.CircuitBreaker[any] {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of[source]
	if c == nil {
		c = circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(downRate, downCalls, downWithin).Build()
		if b.of == nil {
			b.of = map[string]circuitbreaker.CircuitBreaker[any]{}
		}
		b.of[source] = c
	}
	return c
}

// worked notes a call that was answered, whatever the answer says.
func (b *breakers) worked(source string) { b.get(source).RecordSuccess() }

// failed notes a call without an answer, and reports whether the source is down
// for that. Only one caller is told so: the count begins again.
func (b *breakers) failed(source string) (down bool) {
	c := b.get(source)
	b.mu.Lock()
	defer b.mu.Unlock()
	c.RecordFailure()
	if !c.IsOpen() {
		return false
	}
	c.Close()
	return true
}
