package control

import (
	"encoding/json"
	"net/http"
)

// problemType is the media type of a problem document.
const problemType = "application/problem+json"

// problem is a problem document (RFC 9457). Its type is about:blank: the status says what
// kind of problem it is, and Detail is for people.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	// Extensions: what is known in spite of the problem.
	Plan    []string     `json:"plan,omitempty"`
	Changes []Difference `json:"differences,omitempty"`
}

func (p problem) encode() []byte {
	p.Title = http.StatusText(p.Status)
	text, err := json.Marshal(p)
	if err != nil { // Its fields can be encoded.
		return []byte("{}")
	}
	return append(text, '\n')
}

// problemOf returns the problem of a response with an error.
func problemOf(r Response) problem {
	p := problem{Status: http.StatusConflict, Detail: r.Error, Plan: r.Plan, Changes: r.Changes}
	switch r.Code {
	case CodeUsage:
		p.Status = http.StatusBadRequest
	case CodeNotFound:
		p.Status = http.StatusNotFound
	}
	return p
}

// code returns the exit status of a problem.
func (p problem) code() int {
	switch {
	case p.Status == http.StatusNotFound:
		return CodeNotFound
	case p.Status >= 400 && p.Status < 500 && p.Status != http.StatusConflict && p.Status != http.StatusForbidden:
		return CodeUsage
	}
	return CodeFailed
}
