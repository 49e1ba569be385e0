package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

const (
	askTime     = 15 * time.Second
	answerLimit = 16 << 20
)

// ErrNoService is returned when there is no network service.
var ErrNoService = errors.New("no network service runs on this machine")

// Ask asks the network service for the plan of a configuration; that of the file that it uses if
// file is nil.
func Ask(ctx context.Context, file []byte) (p Plan, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", Socket)
	}}
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if file != nil {
		method, body = http.MethodPost, bytes.NewReader(file)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://network"+PlanPath, body)
	if err != nil {
		return p, err
	}
	answer, err := transport.RoundTrip(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return p, ErrNoService
	}
	if err != nil {
		return p, fmt.Errorf("cannot ask the network service: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return p, fmt.Errorf("the network service answers with %s", answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, answerLimit)).Decode(&p); err != nil {
		return p, fmt.Errorf("cannot read the answer of the network service: %w", err)
	}
	return p, nil
}
