package social

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// page is a batch of n posts, as one answer of a provider gives them.
func page(n int) Batch {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b := Batch{
		Ask: Ask{
			Task:  TaskRef{ID: 7, Fence: 9, Flow: "refresh_profile_by_handle", Platform: Instagram, LeaseUntil: at.Add(15 * time.Minute)},
			Seq:   1,
			Fetch: PostsByID,
			Keys:  []string{"17841400000000007"},
			State: State{ProfileID: "17841400000000007", Handle: "creator00007"},
		},
		Raw:    Raw{ID: ID("raw", n), Source: "rapidapi-arraybobo", At: at, Status: 200},
		Parser: 1,
		Cursor: "QVFEdz09",
		More:   true,
	}
	for i := range n {
		b.Logs = append(b.Logs, Log{
			Kind: Post, Key: fmt.Sprintf("Cx%09d", i), Owner: "17841400000000007", Source: "arraybobo",
			Dimensions: KVs{
				{"profile_id", String("17841400000000007")},
				{"handle", String("creator00007")},
				{"post_type", String("reels")},
				{"display_url", String("https://scontent.example.net/v/t51.2885-15/" + strings.Repeat("4f2a", 40) + "_n.jpg?stp=dst-jpg&_nc_cat=10")},
				{"thumbnail_src", String("https://scontent.example.net/v/t51.2885-15/" + strings.Repeat("9b1c", 40) + "_n.jpg?stp=dst-jpg&_nc_cat=11")},
				{"taken_at_timestamp", Int(1772366400 - int64(i)*3600)},
				{"user_tags", json.RawMessage(`[{"user":{"pk":"41","username":"friend"},"position":[0.25,0.5]}]`)},
				{"is_sponsor", json.RawMessage("false")},
				{"caption", String("Morning run \U0001f3c3 by the river.\nThe \"long\" one, at last! #running #marathon " + strings.Repeat("Every week a little further. ", i%5))},
				{"location", Null},
			},
			Metrics: KVs{{"comments", Int(int64(i))}, {"likes", Int(int64(i) * 37)}, {"view_count", Null}, {"play_count", Int(100000 + int64(i))}},
		})
	}
	return b
}

func TestBatchRoundTrip(t *testing.T) {
	for _, b := range []Batch{
		{},
		page(0),
		page(12),
		{Final: &Final{Status: Complete, Data: "{'a': \"\u00e9\n\"}"}, Logs: []Log{{Kind: Profile, Key: "1", Dimensions: KVs{{"a\"b", Null}, {"a", Int(1)}, {"a", Int(2)}}}}},
	} {
		data, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(data) {
			t.Fatalf("not JSON: %s", data)
		}
		got, err := UnmarshalBatch(data)
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		b.Digest = DigestLogs(b.Logs)
		if diff := cmp.Diff(b, got); diff != "" {
			t.Errorf("came back changed (-want +got):\n%s", diff)
		}
	}
}

// The values of a batch are parts of its message: appending to one must not
// write over what lies behind it.
func TestUnmarshalledValuesDoNotGrowIntoEachOther(t *testing.T) {
	data, err := page(2).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(data)
	b, err := UnmarshalBatch(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range b.Logs {
		for _, kv := range append(append(KVs(nil), l.Metrics...), l.Dimensions...) {
			_ = append(kv.Value, "xxxxxxxx"...)
		}
	}
	if !bytes.Equal(before, data) {
		t.Errorf("message changed to %s", data)
	}
}

func BenchmarkBatchMarshal(b *testing.B) {
	p := page(12)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Marshal(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalBatch(b *testing.B) {
	data, err := page(12).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := UnmarshalBatch(data); err != nil {
			b.Fatal(err)
		}
	}
}
