package ytapi

import (
	"testing"
	"time"

	"beat/providers"
	"beat/providers/providertest"
)

// The day of a quota ends at midnight in California, summer and winter.
func TestUntilMidnight(t *testing.T) {
	for at, want := range map[string]time.Duration{
		"2023-09-24T12:00:00Z": 19 * time.Hour,
		"2023-09-24T06:59:59Z": time.Second,
		"2023-09-24T07:00:00Z": 24 * time.Hour,
		"2023-12-31T09:00:00Z": 23 * time.Hour,
		"2024-03-10T08:00:00Z": 23 * time.Hour, // the day that summer begins
		"2023-11-05T07:00:00Z": 24 * time.Hour, // it has 25, and no wait is longer than a day
		"2023-11-05T09:30:00Z": 22*time.Hour + 30*time.Minute,
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		a := providertest.Answer(403, []byte(`{"error":{"errors":[{"reason":"quotaExceeded"}]}}`))
		a.At = now
		if got := classify(a); got == nil || got.Kind != providers.ErrLimited || got.RetryAfter != want {
			t.Errorf("%s: %v, want a wait of %v", at, got, want)
		}
	}
}
