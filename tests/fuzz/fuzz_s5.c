// SPDX-License-Identifier: BSD-2-Clause
// The search for \_S5 in any bytes, and in the same bytes with a sound definition somewhere in
// them: that one must be found, whatever is around it.
#define _GNU_SOURCE // memmem()
#include <stdlib.h>
#include <string.h>
#include "kernel/arch/x86/acpi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool find(const uint8_t *data, size_t bytes, uint8_t type[2])
{
    uint8_t *exact = malloc(bytes + !bytes); // a byte too far is seen
    memcpy(exact, data, bytes);
    bool found = acpi_find_s5(exact, (uint32_t)bytes, type);
    if (found && (type[0] > 7 || type[1] > 7))
        abort();
    free(exact);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t sound[] = { 0x08, '_', 'S', '5', '_', 0x12, 6, 2, 0x0a, 5, 0x0a, 3 }, type[2];
    uint8_t with[4096 + sizeof(sound)];
    if (bytes < 3 || bytes > 4096)
        return 0;
    (void)find(data, bytes, type);
    size_t at = 1 + (data[0] | data[1] << 8) % (bytes - 1);
    sound[9] = data[2] & 7;
    sound[11] = data[2] >> 3 & 7;
    memcpy(with, data, at);
    memcpy(with + at, sound, sizeof(sound));
    memcpy(with + at + sizeof(sound), data + at, bytes - at);
    if (!find(with, bytes + sizeof(sound), type))
        abort();
    if (!memmem(data, at, "_S5_", 4) && (type[0] != sound[9] || type[1] != sound[11]))
        abort();
    return 0;
}
