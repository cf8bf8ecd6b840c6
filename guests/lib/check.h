// SPDX-License-Identifier: BSD-2-Clause
//
// What a test guest says: one line per assertion, "PASS name", "FAIL name reason" or "SKIP name
// reason"; then "done PASSED FAILED SKIPPED" and power-off.

#pragma once

#include <stdbool.h>

// Reports one assertion; the format and its arguments say what was seen, and are printed on
// failure. Returns `ok`.
bool check(bool ok, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Reports an assertion that cannot be made on this machine.
void check_skip(const char *name, const char *reason);

// Prints the last line; the result is main's: 0 if nothing failed.
int check_done(void);
