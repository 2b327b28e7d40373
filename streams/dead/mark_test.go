package dead_test

import (
	"testing"

	"beat/streams/bus"
	"beat/streams/dead"
)

func TestMark(t *testing.T) {
	ls := []dead.Letter{
		{Source: "graphapi", Parser: 1, Stream: bus.Raw},
		{Source: "graphapi", Parser: 2, Stream: bus.Parsed},
		{Source: "graphapi", Parser: 3, Stream: bus.Raw}, // of the version of now
		{Source: "graphapi", Parser: 4, Stream: bus.Raw}, // of one that was taken back
		{Source: "graphapi", Parser: 0, Stream: bus.Raw}, // of none that is known
		{Source: "graphapi", Parser: 1, Stream: bus.Tasks},
		{Source: "elsewhere", Parser: 1, Stream: bus.Raw},
	}
	dead.Mark(ls, func(source string) int { return map[string]int{"graphapi": 3}[source] })
	for i, want := range []int{3, 3, 0, 0, 0, 0, 0} {
		if ls[i].Curable != want {
			t.Errorf("letter %d: curable by %d, want %d", i, ls[i].Curable, want)
		}
	}
	if gs := dead.Groups(ls); len(gs) != 1 || gs[0].Curable != 2 {
		t.Errorf("groups: %+v", gs)
	}
}
