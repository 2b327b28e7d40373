package social

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"
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
	return append(dst, '}')
}

// MarshalJSON implements json.Marshaler.
func (l Log) MarshalJSON() ([]byte, error) { return l.AppendJSON(nil), nil }

// ParseLog reads what AppendJSON wrote. The log shares the memory of r. A
// member that a later version added is ignored.
func ParseLog(r gjson.Result) Log {
	var l Log
	r.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "kind":
			l.Kind = Kind(v.Str)
		case "key":
			l.Key = v.Str
		case "owner":
			l.Owner = v.Str
		case "handle":
			l.Handle = v.Str
		case "source":
			l.Source = v.Str
		case "dimensions":
			l.Dimensions = parseKVs(v)
		case "metrics":
			l.Metrics = parseKVs(v)
		}
		return true
	})
	return l
}

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
	dst := append(head[:len(head)-1], `,"logs":[`...)
	for i, l := range b.Logs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = l.AppendJSON(dst)
	}
	return append(dst, ']', '}'), nil
}

// UnmarshalBatch reads what Marshal wrote. The batch shares the memory of
// data.
func UnmarshalBatch(data []byte) (Batch, error) {
	if !gjson.ValidBytes(data) {
		return Batch{}, errors.New("decode batch: not JSON")
	}
	var b Batch
	var err error
	gjson.ParseBytes(data).ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "ask":
			err = json.Unmarshal([]byte(v.Raw), &b.Ask)
		case "raw":
			err = json.Unmarshal([]byte(v.Raw), &b.Raw)
		case "parser":
			b.Parser = int(v.Int())
		case "cursor":
			b.Cursor = v.String()
		case "more":
			b.More = v.Bool()
		case "final":
			if v.IsObject() {
				b.Final = new(Final)
				err = json.Unmarshal([]byte(v.Raw), b.Final)
			}
		case "logs":
			v.ForEach(func(_, l gjson.Result) bool {
				b.Logs = append(b.Logs, ParseLog(l))
				return true
			})
		}
		return err == nil
	})
	if err != nil {
		return Batch{}, fmt.Errorf("decode batch: %w", err)
	}
	return b, nil
}
