// Package archive keeps raw answers for longer than RAW does, and reads stream
// and archive as one history.
//
// # What is stored
//
// The messages of RAW, in their order, as segments of some 32 MiB. A segment is
// two objects of S3 and a row of table archive_segment:
//
//	raw/<run>/<first>-<last>.zst       messages: headers, body, sequence, time
//	raw/<run>/<first>-<last>.zst.idx   what each message is about and where it lies
//	body/<day>/<sha256>.zst            a body of more than 256 KiB, see Claims
//
// The first is a sequence of zstd frames, "chunks", of about 1 MiB of messages
// each; zstd -d reads all of it. The index is one frame. It says what a reader
// selects by (Entry), so that only chunks are fetched which hold something of
// interest, and many of them with one request. segment.go has the bytes.
//
// A run is one count of sequences. It is named by when the stream was made, so
// that a stream made anew, which counts from one again, is another. A stream may
// also be set back: restored from a backup, or by a power cut while it was not
// synced. Its sequences then name other messages than those that were archived.
// That is noticed by the time of the last archived message (Archive.place), and
// a run begins which is one larger. A Position is a run and a sequence.
//
// # Who writes
//
// Role archive: the one process that holds an advisory lock; others wait for it.
// It reads RAW by an ordered consumer from behind the last stored row, so the
// rows are its only position, and a restored backup of the database reads again.
//
// A segment's states, each with what is left if the process dies in it:
//
//	(collected)  nothing: it is read again, and may end elsewhere
//	writing      the row says from where to where and which hash. The next writer
//	             makes exactly that segment: the object of that name is right
//	             already, or it is written again
//	stored       both objects were read back and had their hash. Only now do they
//	             count: the position moves, and RAW may let its messages go
//	removing     it has outlived its retention: nobody reads it, its objects are
//	             deleted, then the row
//
// So a crash repeats an object, under the same name, and never makes a second.
//
// # Who removes from RAW
//
// The archive, not age. Where an archive is configured RAW keeps everything and
// refuses when it is full (bus.Hold). What is stored in the archive, older than
// RetainRaw, and read by every durable consumer of Readers, is purged; if RAW is
// nearly full, also what is younger. When S3 is away RAW grows; at its limit
// publishers are refused, asks come back with a delay, and no more tasks are
// claimed. Nothing is lost, and all of it goes on by itself.
//
// That something has to be done is said by Health: metric beat_archive_alert,
// /readyz and the log.
//
// # Claims
//
// A body of more than 256 KiB goes to S3 before its message goes to RAW; the
// message carries a claim in its place (header Beat-Body) and has no body. Body
// is the one way to a message's body. If S3 does not answer, the body stays in
// the message. Segments keep claims as they are. The object of a claim lives as
// long as the archive reaches back, and 31 days longer: dead letters carry
// claims too.
//
// # Failures
//
// S3 refuses or is gone: the writer tries again for as long as it takes, with
// up to a minute in between; reading fails after some seconds. Postgres is gone:
// the session ends and begins again. The lock is lost unnoticed: the row of the
// other process is in the way, and the session ends. An object was damaged or
// lost: reading fails, naming it; Verify finds it beforehand. What RAW lost
// before it was archived is a gap between two rows: it is logged as an error
// when it is found, and by Verify for ever.
package archive
