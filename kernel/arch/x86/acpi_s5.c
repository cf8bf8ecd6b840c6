// SPDX-License-Identifier: BSD-2-Clause
// What \_S5 says: the sleep types of "soft off". The DSDT's code is neither run nor parsed as a
// whole, for one operator that is not known would hide all behind it. The definition's own bytes
// are looked for. ACPI has that name at the root only, so no path is needed; and what looks like it
// by chance would have to be a package of two small integers as well. (ACPI specification, "ACPI
// Machine Language (AML) Specification", "\_Sx (System States)".)
#include "kernel/arch/x86/acpi.h"

enum { AML_ONE = 0x01, AML_NAME = 0x08, AML_BYTE = 0x0a, AML_PACKAGE = 0x12, AML_ROOT = '\\',
       NOTHING = 0xff }; // stands for what is missing or no number, for it is no sleep type
#define SLEEP_TYPE_MAX 7

struct aml { const uint8_t *at, *end; };

static uint8_t next(struct aml *a) { return a->at < a->end ? *a->at++ : NOTHING; }

static uint8_t next_number(struct aml *a)
{
    uint8_t op = next(a);
    return op == AML_BYTE ? next(a) : op <= AML_ONE ? op : NOTHING;
}

// What stands behind the name. A package's length counts from its own first byte on, whose upper
// two bits say how many more bytes of it there are.
static bool read_package(struct aml a, uint8_t type[2])
{
    if (next(&a) != AML_PACKAGE)
        return false;
    const uint8_t *start = a.at;
    uint32_t lead = next(&a), length = lead >> 6 ? lead & 0xf : lead;
    for (uint32_t i = 0; i < lead >> 6; i++)
        length |= (uint32_t)next(&a) << (4 + 8 * i);
    if (length > (size_t)(a.end - start))
        return false;
    a.end = start + length;
    uint8_t elements = next(&a);
    type[0] = next_number(&a);
    type[1] = elements > 1 ? next_number(&a) : 0;
    return elements && type[0] <= SLEEP_TYPE_MAX && type[1] <= SLEEP_TYPE_MAX;
}

bool acpi_find_s5(const uint8_t *aml, uint32_t bytes, uint8_t type[2])
{
    for (uint32_t at = 2; at + 4 <= bytes; at++) {
        uint32_t root = aml[at - 1] == AML_ROOT;
        if (__builtin_memcmp(aml + at, "_S5_", 4) == 0 && aml[at - 1 - root] == AML_NAME &&
            read_package((struct aml){ aml + at + 4, aml + bytes }, type))
            return true;
    }
    return false;
}
