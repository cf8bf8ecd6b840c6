// SPDX-License-Identifier: BSD-2-Clause
//
// Assertions of a test guest. State: the counts. Handlers do not call this.

#include "guests/lib/check.h"

#include <stdarg.h>
#include <stdio.h>

static unsigned int passed, failed, skipped;

bool check(bool ok, const char *name, const char *format, ...)
{
    if (ok) {
        passed++;
        printf("PASS %s\n", name);
        return true;
    }
    failed++;
    printf("FAIL %s ", name);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    return false;
}

void check_skip(const char *name, const char *reason)
{
    skipped++;
    printf("SKIP %s %s\n", name, reason);
}

int check_done(void)
{
    printf("done %u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed == 0 ? 0 : 1;
}
