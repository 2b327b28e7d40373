package sandbox

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// Cursors name the next item by its number, so that new posts do not shift
// the pages. The prefix makes them look like the real ones in base 64, and is
// another for each source: none can use those of another.
func appendCursor(b []byte, prefix string, list int, id uint64, n int64) []byte {
	var raw [64]byte
	r := append(raw[:0], prefix...)
	r = strconv.AppendInt(r, int64(list), 10)
	r = appendUint(r, ":", id)
	r = appendInt(r, ":", n)
	return base64.RawURLEncoding.AppendEncode(b, r)
}

func readCursor(s, prefix string, list int, id uint64) (int64, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	t, ok := strings.CutPrefix(string(raw), prefix)
	if err != nil || !ok {
		return 0, false
	}
	f := strings.Split(t, ":")
	if len(f) != 3 || f[0] != strconv.Itoa(list) || f[1] != strconv.FormatUint(id, 10) {
		return 0, false
	}
	n, err := strconv.ParseInt(f[2], 10, 64)
	return n, err == nil && n > 0
}

// from is where a page of a list begins: at the newest, or where a cursor of
// this source says.
func (c call) from(cursor string, list int, id uint64, newest int64) (int64, bool) {
	if cursor == "" {
		return newest, true
	}
	return readCursor(cursor, c.src.cursor, list, id)
}

// The app's own cursors through posts are <pk>_<owner>, of the last that was shown.
func appendAppCursor(b []byte, l timeline, p item) []byte {
	return appendUint(appendUint(b, "", p.pk), "_", l.a.id)
}

// fromApp is where a page begins by such a cursor.
func (w *world) fromApp(l timeline, cursor string) (int64, bool) {
	if cursor == "" {
		return l.newest, true
	}
	pk, owner, _ := strings.Cut(cursor, "_")
	n, err := strconv.ParseUint(pk, 10, 64)
	if err != nil || owner != strconv.FormatUint(l.a.id, 10) {
		return 0, false
	}
	p, ok := w.byPK(l.a, l.k, n)
	return p.ord - 1, ok
}

// size is how many a page has: as many as asked for, up to most.
func size(asked string, most int64) int64 {
	if n, err := strconv.ParseInt(asked, 10, 64); err == nil && n > 0 {
		return min(n, most)
	}
	return most
}
