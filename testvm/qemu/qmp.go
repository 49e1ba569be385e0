package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Event is an asynchronous message of QEMU, such as SHUTDOWN.
type Event struct {
	Name string         `json:"event"`
	Data map[string]any `json:"data"`
}

// QMP is a client of QEMU's control protocol: one JSON object per message, a greeting
// first. Keys distinguish answers from events.
type QMP struct {
	conn    io.ReadWriteCloser
	onEvent func(Event)
	done    chan struct{}

	mu      sync.Mutex
	next    int
	pending map[int]chan answer
	err     error // set when done is closed
}

type answer struct {
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// NewQMP returns a client for the QEMU at conn. onEvent is called for every event, in
// order, by the goroutine that reads; it must not block.
func NewQMP(ctx context.Context, conn io.ReadWriteCloser, onEvent func(Event)) (*QMP, error) {
	q := &QMP{conn: conn, onEvent: onEvent, done: make(chan struct{}), pending: map[int]chan answer{}}
	go q.read()
	if err := q.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		return nil, err
	}
	return q, nil
}

// Done is closed when QEMU has closed the connection.
func (q *QMP) Done() <-chan struct{} { return q.done }

// Execute runs a command and decodes what it returns into result unless nil.
func (q *QMP) Execute(ctx context.Context, command string, args map[string]any, result any) error {
	id, ch := q.register()
	defer q.forget(id)
	msg := map[string]any{"execute": command, "id": id}
	if args != nil {
		msg["arguments"] = args
	}
	line, err := json.Marshal(msg)
	if err != nil {
		return fmt.Errorf("cannot encode QMP command %s: %w", command, err)
	}
	if _, err := q.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("cannot send QMP command %s: %w", command, err)
	}
	select {
	case a := <-ch:
		return a.result(command, result)
	case <-q.done:
		return fmt.Errorf("cannot run QMP command %s: %w", command, q.failure())
	case <-ctx.Done():
		return fmt.Errorf("cannot run QMP command %s: %w", command, ctx.Err())
	}
}

func (a answer) result(command string, result any) error {
	if a.Error != nil {
		return fmt.Errorf("cannot run QMP command %s: %s: %s", command, a.Error.Class, a.Error.Desc)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.Return, result); err != nil {
		return fmt.Errorf("cannot read the answer to QMP command %s: %w", command, err)
	}
	return nil
}

func (q *QMP) register() (int, chan answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next++
	ch := make(chan answer, 1)
	q.pending[q.next] = ch
	return q.next, ch
}

func (q *QMP) forget(id int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
}

func (q *QMP) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// read handles messages until the connection ends.
func (q *QMP) read() {
	defer close(q.done)
	dec := json.NewDecoder(q.conn)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("QEMU has ended")
			}
			q.mu.Lock()
			q.err = err
			q.mu.Unlock()
			return
		}
		q.dispatch(raw)
	}
}

func (q *QMP) dispatch(raw json.RawMessage) {
	var e Event
	if json.Unmarshal(raw, &e) == nil && e.Name != "" {
		q.onEvent(e)
		return
	}
	var a answer
	if json.Unmarshal(raw, &a) != nil || a.ID == nil {
		return // the greeting, or a message of a later protocol
	}
	q.mu.Lock()
	ch := q.pending[*a.ID]
	delete(q.pending, *a.ID)
	q.mu.Unlock()
	if ch != nil {
		ch <- a
	}
}
