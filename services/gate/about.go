package gate

import (
	"encoding/json"
	"net/http"
	"time"

	"keelson/services/control"
)

// about says who a client is.
func about(w http.ResponseWriter, person Client) {
	text, err := json.Marshal(struct {
		Name    string    `json:"name"`
		Role    string    `json:"role"`
		Expires time.Time `json:"expires"`
	}{person.Name, person.Role.String(), person.Expires})
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	control.Send(w, http.StatusOK, "application/json", append(text, '\n'))
}
