package social

import "github.com/cespare/xxhash/v2"

// DigestLogs says in 64 bits what a parser made of an answer: two parsers that
// make the same logs of it, in the same order, give the same digest. It is never
// 0, which stands for unknown.
func DigestLogs(logs []Log) int64 { return digest(appendLogs(nil, logs)) }

// Digest says in 64 bits what a log says. dimensions and metrics are those of l
// in the form of AppendPairs, which whoever stores them has at hand.
func (l *Log) Digest(dimensions, metrics []byte) int64 {
	var d xxhash.Digest
	d.Reset()
	for _, s := range []string{string(l.Kind), l.Key, l.Owner, l.Handle, l.Source, l.Type, l.Actor, l.Target} {
		d.WriteString(s)      //nolint:errcheck // never fails
		d.Write([]byte{0xff}) //nolint:errcheck // likewise; no text holds it
	}
	d.Write(dimensions) //nolint:errcheck // likewise
	d.Write(metrics)    //nolint:errcheck // likewise
	if l.TargetDimensions != nil {
		d.Write(l.TargetDimensions.AppendPairs(nil)) //nolint:errcheck // likewise
	}
	return known(d.Sum64())
}

func digest(b []byte) int64 { return known(xxhash.Sum64(b)) }

func known(sum uint64) int64 {
	if sum == 0 {
		return 1
	}
	return int64(sum)
}
