package bus

import "time"

// Letter is a dead letter for m that a handler sends beside other messages,
// when the message is lost for a person to look at but its work goes on
// another way.
func Letter(m *Msg, stage, cause string, err error) Out {
	return letter(stage, m, &parkError{cause: cause, err: err}, time.Now())
}
