package retrieval

import (
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// A source is down when five calls in a row, within a minute, got no answer
// (contract/enrichment.md 5.5 and W1.3). In a row, so that a busy source with an
// error here and there is not given up, and one that breaks off is given up
// after five calls however busy it was.
const (
	downCalls  = 5
	downWithin = time.Minute
)

// breakers notice that a source is down: one for each source, of this process.
// That it is down, all processes learn from table credential.
type breakers struct {
	mu sync.Mutex
	of map[string]*breaker
}

type breaker struct {
	circuitbreaker.CircuitBreaker[any]
	since time.Time // of the first failure in a row
}

func (b *breakers) get(source string) *breaker {
	c := b.of[source]
	if c == nil {
		c = &breaker{CircuitBreaker: circuitbreaker.NewBuilder[any]().WithFailureThreshold(downCalls).Build()}
		if b.of == nil {
			b.of = map[string]*breaker{}
		}
		b.of[source] = c
	}
	return c
}

// worked notes a call that was answered, whatever the answer says.
func (b *breakers) worked(source string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.get(source)
	c.RecordSuccess()
	c.since = time.Time{}
}

// failed notes a call without an answer, and reports whether the source is down
// for that. Only one caller is told so: the count begins again.
func (b *breakers) failed(source string, now time.Time) (down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.get(source)
	if now.Sub(c.since) > downWithin {
		c.Close()
		c.RecordSuccess() // the row begins with this one
		c.since = now
	}
	c.RecordFailure()
	if !c.IsOpen() {
		return false
	}
	c.Close()
	c.since = time.Time{}
	return true
}
