package social

import (
	"encoding/json"
	"fmt"
)

// Logs and batches travel in messages many times for each time they are
// made, so they have a codec of their own: one append to write, one pass to
// read, values shared with the message instead of copied.

// AppendJSON appends l as an object.
func (l Log) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"kind":`...)
	dst = AppendString(dst, string(l.Kind))
	dst = append(dst, `,"key":`...)
	dst = AppendString(dst, l.Key)
	dst = append(dst, `,"owner":`...)
	dst = AppendString(dst, l.Owner)
	dst = append(dst, `,"handle":`...)
	dst = AppendString(dst, l.Handle)
	dst = append(dst, `,"source":`...)
	dst = AppendString(dst, l.Source)
	dst = append(dst, `,"dimensions":`...)
	dst = l.Dimensions.AppendJSON(dst)
	dst = append(dst, `,"metrics":`...)
	dst = l.Metrics.AppendJSON(dst)
	if l.Type != "" { // of an activity or a relationship
		dst = append(dst, `,"type":`...)
		dst = AppendString(dst, l.Type)
		dst = append(dst, `,"actor":`...)
		dst = AppendString(dst, l.Actor)
		dst = append(dst, `,"target":`...)
		dst = AppendString(dst, l.Target)
		dst = append(dst, `,"target_dimensions":`...)
		dst = l.TargetDimensions.AppendJSON(dst)
	}
	return append(dst, '}')
}

// Size is about how long the object is: exactly, if no text needs escapes.
func (l Log) Size() int {
	n := 0
	if l.Type != "" {
		n = len(`,"type":"","actor":"","target":"","target_dimensions":`) + len(l.Type) + len(l.Actor) + len(l.Target) + l.TargetDimensions.size()
	}
	return n + len(`{"kind":"","key":"","owner":"","handle":"","source":"","dimensions":,"metrics":}`) +
		len(l.Kind) + len(l.Key) + len(l.Owner) + len(l.Handle) + len(l.Source) + l.Dimensions.size() + l.Metrics.size()
}

// PairsSize is the length of the pairs of l's dimensions and metrics, if no
// key needs escapes.
func (l Log) PairsSize() int {
	return l.Dimensions.pairsSize() + l.Metrics.pairsSize() + l.TargetDimensions.pairsSize()
}

// MarshalJSON implements json.Marshaler.
func (l Log) MarshalJSON() ([]byte, error) { return l.AppendJSON(nil), nil }

// Marshal is the message form of a batch.
func (b Batch) Marshal() ([]byte, error) {
	head, err := json.Marshal(struct {
		Ask    Ask    `json:"ask"`
		Raw    Raw    `json:"raw"`
		Parser int    `json:"parser"`
		Cursor string `json:"cursor,omitempty"`
		More   bool   `json:"more,omitempty"`
		Final  *Final `json:"final,omitempty"`
	}{b.Ask, b.Raw, b.Parser, b.Cursor, b.More, b.Final})
	if err != nil {
		return nil, fmt.Errorf("encode batch: %w", err)
	}
	size := len(head) + 16
	for _, l := range b.Logs {
		size += l.Size() + 1
	}
	dst := append(make([]byte, 0, size), head[:len(head)-1]...)
	dst = append(dst, `,"logs":`...)
	return append(appendLogs(dst, b.Logs), '}'), nil
}

func appendLogs(dst []byte, logs []Log) []byte {
	dst = append(dst, '[')
	for i, l := range logs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = l.AppendJSON(dst)
	}
	return append(dst, ']')
}

// UnmarshalBatch reads what Marshal wrote. The batch shares the memory of
// data.
func UnmarshalBatch(data []byte) (Batch, error) {
	var b Batch
	var err error
	r := NewReader(data)
	for key := range r.Members() {
		switch key {
		case "ask":
			err = r.Into(&b.Ask)
		case "raw":
			err = r.Into(&b.Raw)
		case "parser":
			b.Parser = r.Int()
		case "cursor":
			b.Cursor = r.Text()
		case "more":
			b.More = r.True()
		case "final":
			err = r.Into(&b.Final)
		case "logs":
			from := r.at
			for range r.Elements() {
				b.Logs = append(b.Logs, r.Log())
			}
			b.Digest = digest(data[from:r.at])
		}
		if err != nil {
			return Batch{}, fmt.Errorf("decode batch: %w", err)
		}
	}
	if err := r.Err(); err != nil {
		return Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	return b, nil
}
