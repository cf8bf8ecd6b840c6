# SPDX-License-Identifier: BSD-2-Clause
# The screen's font, as a C table that the kernel and the console process include: font.h in
# BULKHEAD_GENERATED; target font_h.
set(BULKHEAD_GENERATED ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${BULKHEAD_GENERATED})
add_custom_command(OUTPUT ${BULKHEAD_GENERATED}/font.h VERBATIM
    COMMAND ${CMAKE_SOURCE_DIR}/tools/font.py ${BULKHEAD_GENERATED}/font.h
    DEPENDS ${CMAKE_SOURCE_DIR}/tools/font.py)
add_custom_target(font_h DEPENDS ${BULKHEAD_GENERATED}/font.h)
