// SPDX-License-Identifier: BSD-2-Clause
//
// Tells the format of a guest image by its first bytes, and its module name by its path. The
// bytes are not trusted; only reads inside the given size. No state.
#include "config/config.h"

#include <string.h>

// Multiboot Specification 0.6.96, "The layout of Multiboot header".
#define MULTIBOOT_MAGIC 0x1badb002u
#define MULTIBOOT_SEARCH 8192
#define MULTIBOOT_HEADER 12    // magic, flags, checksum

// The Linux/x86 Boot Protocol, "The real-mode kernel header".
#define LINUX_BOOT_FLAG 0x1fe
#define LINUX_HEADER 0x202

static uint32_t load32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool has_multiboot_header(const uint8_t *head, size_t size)
{
    size_t end = size < MULTIBOOT_SEARCH ? size : MULTIBOOT_SEARCH;

    for (size_t at = 0; at + MULTIBOOT_HEADER <= end; at += 4) {
        if (load32(head + at) == MULTIBOOT_MAGIC &&
            load32(head + at) + load32(head + at + 4) + load32(head + at + 8) == 0)
            return true;
    }
    return false;
}

enum config_format config_image_format(const uint8_t *head, size_t size)
{
    if (size >= LINUX_HEADER + 4 && memcmp(head + LINUX_HEADER, "HdrS", 4) == 0 &&
        head[LINUX_BOOT_FLAG] == 0x55 && head[LINUX_BOOT_FLAG + 1] == 0xaa)
        return CONFIG_FORMAT_LINUX;
    if (size >= 4 && memcmp(head, "\177ELF", 4) == 0 && has_multiboot_header(head, size))
        return CONFIG_FORMAT_MULTIBOOT1;
    return CONFIG_FORMAT_UNKNOWN;
}

const char *config_module_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}
