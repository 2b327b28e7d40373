package projections

import (
	"time"

	"github.com/tidwall/gjson"
)

// Observed is when the value of a column was observed, from the lineage of its
// row. It is false for a column without an origin, such as one that was written
// before beat.
func Observed(lineage []byte, column string) (at time.Time, ok bool) {
	r := gjson.ParseBytes(lineage)
	i := r.Get("c").Get(column)
	if i.Type != gjson.Number {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, r.Get("a").Get(i.Raw).Get("1").Str)
	return at, err == nil
}
